"""Projections onto a plane within the box, by a general solver."""

import numpy as np
from scipy.optimize import linprog, minimize

SIZE = 7


def solve(x, gap, normal, family):
    """The shortest step from `x` onto the plane within the box, by a general solver; `None` if there is none."""
    box = list(zip(-x, 1 - x, strict=True))
    eye, zero, one = np.eye(SIZE), np.zeros(SIZE), np.ones((SIZE, 1))
    if family == "L2":
        corner = np.where(-gap * normal > 0, 1 - x, -x)
        if abs(corner @ normal) < abs(gap):
            return None
        plane = {"type": "eq", "fun": lambda d: d @ normal + gap, "jac": lambda _: normal}
        options = {"ftol": 1e-14, "maxiter": 500}
        start = corner * abs(gap) / abs(corner @ normal)
        found = minimize(lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=box, constraints=plane, options=options)
        return found.fun**0.5
    if family == "Linf":  # variables: the step, and a bound on each of its entries
        cost, rows = np.append(zero, 1), np.block([[eye, -one], [-eye, -one]])
        found = linprog(cost, rows, np.zeros(2 * SIZE), [np.append(normal, 0)], [-gap], [*box, (0, None)])
    else:  # the step, and the absolute value of each of its entries
        cost, rows = np.append(zero, one), np.block([[eye, -eye], [-eye, -eye]])
        found = linprog(cost, rows, np.zeros(2 * SIZE), [np.append(normal, zero)], [-gap], box + [(0, None)] * SIZE)
    return found.fun if found.status == 0 else None
