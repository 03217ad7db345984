"""`python make_checkpoint.py [FOLDER] [FILE]`: train the network without the lab, as you would.

It knows nothing of SplitLab: torchvision reads the folder, and its transforms normalise the images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from doorbell.network import DoorbellNet
from torch.nn import functional as F
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
"""What `bench train --mean 0.5 --std 0.25` is told, as the network does not do it itself."""
WIDTH = 12
EPOCHS, BATCH = 5, 16


def main(folder: Path, file: Path) -> None:
    torch.manual_seed(0)
    prepare = transforms.Compose(
        [transforms.Resize(32), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    found = ImageFolder(str(folder), prepare)
    images = torch.stack([image for image, _ in found])
    labels = torch.tensor(found.targets)
    net = DoorbellNet(num_classes=len(found.classes), width=WIDTH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
    net.eval()
    with torch.inference_mode():
        right = (net(images).argmax(1) == labels).float().mean()
    torch.save({"state_dict": net.state_dict(), "classes": found.classes, "epoch": EPOCHS}, file)
    print(f"{file}: {100 * right:.0f} % of its own {len(images)} images are right")


if __name__ == "__main__":
    given = [*sys.argv[1:3], *("photos", "doorbell.pth")[len(sys.argv) - 1 :]]
    main(*map(Path, given))
