"""Tables and figures of Ensembler (Liu and Xiong 2024)."""
