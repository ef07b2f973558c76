"""Checksums of plain data: whatever is changed is found."""

import json

from hypothesis import assume, given
from hypothesis import strategies as st

from registry.checksum import CHECKSUM, checksummed, unchanged

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text().filter(lambda name: name != CHECKSUM), PLAIN, max_size=4)


@given(OBJECTS)
def test_what_is_written_is_read(data):
    """Through JSON and in any order of its entries."""
    written = json.loads(json.dumps(checksummed(data)))
    assert unchanged(dict(reversed(written.items()))) == data
    assert unchanged(data) is None


@given(OBJECTS, OBJECTS)
def test_what_is_changed_is_found(data, other):
    """Another object's checksum is none, nor is one that is no text."""
    assume(json.dumps(data, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert unchanged({**other, CHECKSUM: checksummed(data)[CHECKSUM]}) is None
    assert unchanged({**data, CHECKSUM: None}) is None
