"""Owns the table of campaigns.  Must not know what the values are used for."""

from __future__ import annotations

from pydantic import Field

from filterd.config.base import Table


class CampaignsConfig(Table):
    """Which messages are near-duplicates of each other: facts for people and for training, they decide nothing."""

    enabled: bool = True
    """Whether messages are counted by campaign. Default true."""
    keep_days: int = Field(default=30, ge=1, le=3650)
    """Days after which a message, and a campaign of which nothing has come since, is forgotten. Default 30."""
    max_campaigns: int = Field(default=200_000, ge=1000, le=100_000_000)
    """Most campaigns that are remembered, about 0.6 KB each; the oldest that nothing resembled give way first. Default 200000."""
