"""Work that no signal handler can break off half way: importing Numba, and compiling."""

import contextvars
import importlib
import os
import sys
import threading

# One piece of work at a time, so that two threads do not import or compile the same thing, and none while the
# process is forked: a child would wait for ever for a thread that it does not have.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    importlib.import_module("logging")  # the last to register is the first to wait: Numba logs, and waits for that lock
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def _compiling():
    """Whether this thread compiles something of the user's. A helper would wait for it, and it for the helper."""
    lock = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    return lock is not None and lock.is_locked()


def sheltered(function, *arguments):
    """function(*arguments), which goes on to its end whatever a signal handler raises meanwhile.

    An exception of a signal handler, KeyboardInterrupt among them, comes through at once. Who then asks again
    waits for the work that still goes on, and finds it done.
    """
    if _compiling():
        return function(*arguments)
    # Python runs signal handlers in the main thread alone, wherever it stands: in an import, that leaves half a
    # module. So the main thread only waits. The helper is no daemon: a process that ends still lets it finish.
    if threading.current_thread() is not threading.main_thread():
        with _lock:
            return function(*arguments)
    outcome = []
    finished = threading.Lock()  # not Thread.join, which takes a thread for ended once it has been interrupted
    finished.acquire()
    context = contextvars.copy_context()

    def work():
        try:
            with _lock:
                outcome.append((context.run(function, *arguments), None))
        except BaseException as error:
            outcome.append((None, error))
        finally:
            finished.release()

    try:
        threading.Thread(target=work, name="fastnp").start()
    except RuntimeError as error:
        if not str(error).startswith("can't "):  # start a new thread: no more are allowed, or Python is ending
            raise
        with _lock:
            return function(*arguments)
    finished.acquire()
    result, error = outcome.pop()
    try:
        if error is not None:
            raise error
        return result
    finally:
        del error  # its traceback holds this frame
