"""Cut the objects that a prompt names out of one image: python examples/one_image.py photo.jpg "cat ; dog" """

import sys

from maskq import Client

path, prompt = sys.argv[1:]
with Client() as maskq:
    result = maskq.segment(path, prompt)
    for found in result:
        print(found.name, found.score, found.box, found.area)
    result.overlay().save("overlay.png")
