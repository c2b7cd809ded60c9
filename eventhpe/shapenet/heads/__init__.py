"""Networks that give joints of one image, as published."""
