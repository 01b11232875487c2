"""A halfspace on images that touch the box, where the best point of an L1 ball is known."""

import torch


class Tilted(torch.nn.Module):
    """A halfspace whose true class is ahead by as much as one likes."""

    def __init__(self, halfspace, ahead):
        super().__init__()
        self.halfspace, self.ahead = halfspace, ahead

    def forward(self, x):
        return self.halfspace(x) + torch.tensor([self.ahead, 0.0])

    def gain(self, x, x_adv):
        """By how much the second class has caught up, `[B]`."""
        weight = (self.halfspace.weight[1] - self.halfspace.weight[0]).detach()
        return (x_adv - x).flatten(1) @ weight


def most(model, x, eps):
    """What the second class can catch up within the ball and the box: the strongest pixels, one by one."""
    weight = (model.halfspace.weight[1] - model.halfspace.weight[0]).tolist()
    gains = []
    for image in x.flatten(1).tolist():
        left, gain = eps, 0.0
        for slope, value in sorted(zip(weight, image, strict=True), key=lambda pixel: -abs(pixel[0])):
            step = min(left, 1 - value if slope > 0 else value)
            left, gain = left - step, gain + abs(slope) * step
        gains.append(gain)
    return torch.tensor(gains)
