"""Draw masks and labels with supervision: python examples/with_supervision.py photo.jpg "cat ; dog" """

import sys

import supervision as sv
from maskq import Client
from PIL import Image, ImageOps

path, prompt = sys.argv[1:]
with Client() as maskq:
    found = maskq.segment(path, prompt).to_supervision()
picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")  # upright, as the service sees it
picture = sv.MaskAnnotator().annotate(picture, found)
picture = sv.LabelAnnotator().annotate(picture, found)
picture.save("annotated.png")
