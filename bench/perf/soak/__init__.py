"""`bench soak`: hours of kills, cut cables and full disks."""
