"""What an update does by a plan: a rule is applied to gradients that were kept."""


def flat(rule):
    """The part that applies a rule by gradients that were kept; each is multiplied by `factor` first."""

    def part(g, p, kept, numbers, factor):
        rule(g * factor, p, kept, numbers)

    return part
