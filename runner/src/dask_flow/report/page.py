from __future__ import annotations


def page(report, history, workers):
    return "<p>soon</p>"
