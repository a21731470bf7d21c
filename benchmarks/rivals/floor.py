"""The floor: a straight line from the cursor to Pendo. It keeps no state and handles no error.

python floor.py DATABASE URL SELECT
"""

import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import duckdb
import orjson
import requests

BATCH, CONNECTIONS = 500, 4

database, url, select = sys.argv[1:]
local = threading.local()


def send(rows):
    if not hasattr(local, "session"):
        local.session = requests.Session()
    body = orjson.dumps([{"visitorId": key, "values": dict(zip(names, values, strict=True))} for key, *values in rows])
    local.session.post(url, data=body, headers={"x-pendo-integration-key": "sink"}).raise_for_status()


cursor = duckdb.connect(database, read_only=True).execute(select)
names = [column[0] for column in cursor.description][1:]
with ThreadPoolExecutor(CONNECTIONS) as pool:
    under_way = deque()
    while rows := cursor.fetchmany(BATCH):
        under_way.append(pool.submit(send, rows))
        if len(under_way) == 4 * CONNECTIONS:
            under_way.popleft().result()
    for sent in under_way:
        sent.result()
