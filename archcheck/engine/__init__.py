"""From targets and settings to a report: sessions, selection, merging, suppressing, fixing.

In: targets and a `Config`. Out: a `Report`. Knows no rule by name; may not import torch, an
output format or a front end.
"""
