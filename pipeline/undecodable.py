"""What msgspec raises about data that is not of the form asked for.

``DecodeError`` is not all of it: a string whose bytes are no UTF-8 raises ``UnicodeDecodeError``, a
``str`` with half of a surrogate pair ``UnicodeEncodeError``, and lists nested past the
interpreter's limit ``RecursionError``. Whoever decodes what may be noise (a file that a power cut
left, an answer from the network, a message) takes all of them for the same thing.
"""

from __future__ import annotations

import msgspec

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
