"""Submit a job and follow its states: python examples/job_events.py photo.jpg cat"""

import sys

from maskq import Client

path, prompt = sys.argv[1:]
with Client() as maskq:
    job = maskq.submit(path, prompt)
    for state in job.events():
        print(state.status, state.queue_position)
    print("objects:", len(job.result()))
