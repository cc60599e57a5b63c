"""What a network is to jitted code of users': a *net*, integers, the address of which is all that goes around.

Whoever makes a net holds it, and what it names, for as long as it is used. Its columns:
"""

N_IN = 0  # the width of the input, or NO_MORE, …
N_OUT = 1  # … and of the output
ROWS = 2  # of a table
ONE = 3  # the address of the table for one sample, …
MANY = 4  # … and of that for up to CAPACITY of them at once
CAPACITY = 5
ROOM_FOR_ONE = 6  # how many numbers a workspace has that one sample takes, …
ROOM = 7  # … and one that any number of them takes
AHEAD = 8  # what part of the former, its end, a sample takes that nobody wants to go back from
PARAMS = 9  # the address of the parameters
SAMPLE = 10  # the addresses of the parts of `embedded`
FORWARD = 11
SAMPLE_VJP = 12
VJP = 13
JACOBIAN = 14
NET_COLUMNS = 15

ON_STACK = 2048  # numbers, which `sample` has room for by itself, …
ON_STACK_BACK = 6144  # … and `sample_vjp`

NO_MORE = -1  # as the width of the input, which no array has: the layers are no longer what the net was made for

LINE = 64  # bytes: a workspace has room to begin on such a multiple
