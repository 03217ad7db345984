"""SplitLab: split inference between two machines that do not trust each other."""

__version__ = "0.1.0"
