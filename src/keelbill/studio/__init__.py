"""The web page where people make pictures: its files, and the addresses at which they are served."""
