"""The experiment on text (Liu and Xiong 2024, appendix A.1)."""
