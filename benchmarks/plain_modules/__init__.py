"""The paper's networks written plainly, with torch's own spectral norm and nothing made fast.

What a step is measured against, and a second reading of the paper that ours must agree with.
"""
