"""What the batch process carries, in a process of its own: another test may need what it must not.

Arrow imports numpy and pandas by itself at several places, and any change of ours, or of Arrow's,
may lead to another one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
# A batch built of a row and its outcome, and sealed; then what was imported on the way.
SEALS_A_BATCH = """
import sys
from pathlib import Path
from pipeline.entry_points import STAGES, resolve
resolve(STAGES["batch"])
from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows
from pipeline.spool import Spool, new_batch_id
from stages.batch.builder import BatchBuilder

lease = LeaseRef(
    lease_id=1, attempt=0, queue="q", queue_message_id="m", pop_receipt="r", message_id="m",
    correlation_id=None, enqueued_at_us=5, dequeue_count=1, requests=1,
)
request = RequestKey(index=0, service="compute", method="GET", api_version="2024-07-01",
                     subscription_id="s")
row = Resource(
    row_key="k", resource_id="/a", resource_type=None, name="n", location=None,
    subscription_id=None, resource_group=None, body=b"{}", body_hash="h", collected_at_us=6,
    source="provider", cached=False,
)
outcome = Outcome(
    outcome="complete", url="https://x/a", status_code=200, error_code=None, error_message=None,
    pages=1, rows=1, attempts=1, latency_ms=1, azure_request_id=None, started_at_us=5,
    completed_at_us=6, source="provider", cached=False, body_hash="h",
)
builder = BatchBuilder(new_batch_id())
builder.add(Rows(lease, request, [row], outcome))
resources, requests, parts = builder.build()
assert (resources.num_rows, requests.num_rows, len(parts)) == (1, 1, 1)
spool = Spool(Path(sys.argv[1]))
assert spool.seal(builder.batch_id, resources, requests, parts) > 0
print(*sorted({"numpy", "pandas", "pyarrow"} & set(sys.modules)))
"""


def test_a_batch_is_built_and_sealed_without_numpy_and_pandas(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEALS_A_BATCH, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["pyarrow"]
    assert len(list(tmp_path.glob("*.arrow"))) == 1
