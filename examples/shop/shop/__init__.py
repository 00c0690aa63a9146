"""The shop of the fictitious 优购网 (Yougou): one image, one service per process."""
