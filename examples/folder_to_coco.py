"""All images of a folder as one COCO data set: python examples/folder_to_coco.py photos "cat ; dog" coco.json"""

import json
import sys
from pathlib import Path

from maskq import Client, CocoDataset, MaskqError

folder, prompt, target = sys.argv[1:]
data = CocoDataset()
with Client() as maskq:
    for path, outcome in maskq.map(sorted(Path(folder).iterdir()), prompt):
        if isinstance(outcome, MaskqError):
            print(path, outcome, file=sys.stderr)
        else:
            data.add(outcome, file_name=path.name)
Path(target).write_text(json.dumps(data.json()), "utf-8")
