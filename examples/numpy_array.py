"""From an array of pixels to an array of a mask: python examples/numpy_array.py"""

import numpy as np
from maskq import Client

pixels = np.zeros((120, 160, 3), np.uint8)  # [height, width, RGB]
pixels[30:90, 40:100] = (220, 30, 30)
with Client() as maskq:
    for found in maskq.segment(pixels, "red square"):
        if found.mask is not None:
            print(found.name, found.mask.shape, pixels[found.mask].mean(axis=0))
