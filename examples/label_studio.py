"""A task with a prediction for Label Studio, to import there as JSON:
python examples/label_studio.py https://example.com/photo.jpg cat

The labeling configuration has <Image name="image" value="$image"/> and <BrushLabels name="tag" toName="image">.
"""

import json
import sys

from maskq import Client

image, prompt = sys.argv[1:]
with Client() as maskq:
    prediction = maskq.segment(image, prompt).to_labelstudio(from_name="tag", to_name="image")
print(json.dumps([{"data": {"image": image}, "predictions": [prediction]}]))
