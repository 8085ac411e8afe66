"""Owns what all connections of a process share: the engine's parts and settings, put together once per configuration.

Must not know what is done with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from filterd.auth.seal import Signer
from filterd.config import ClientsConfig, GreylistConfig
from filterd.engine.aggregate import DmarcNotes
from filterd.engine.campaigns import CampaignNotes
from filterd.engine.handoff import HandOff
from filterd.engine.outbound import CorrespondentNotes, Outbound
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.standing import SenderNotes
from filterd.lookups import BUDGET


@dataclass(slots=True)
class Engine:
    """Everything that all connections of a process share.

    Attributes:
        worker: "slot:boot id" of this process, for the ledger.
        postmasters: names of ours that are no accepted domains -> the accepted domain whose postmaster is theirs too.
        header_bytes: largest header section that is passed on.
        model_name: the content model in use, for the record.
        clients, greylist_config: what clients may do, and from where on mail is doubtful.
        senders: notes those whose mail is not greylisted later; None where nobody is greylisted.
        lookups_per_message: DNS questions that one message, or one connection before it, may cost.
        dmarc_notes: counts messages for DMARC reports; None where none are sent.
        campaign_notes: counts messages by campaign; None where that is off.
        outbound: hands over and signs mail of our own Exchange for the world; None where there is no such mail.
        correspondents: notes whom our people write to; None where nobody is remembered.
        signer: who adds an ARC set to what is handed over; None for nobody.
        has_room: whether the disk has room for another message.
        clock: Unix seconds.
    """

    pipeline: Pipeline
    policy: Policy
    handoff: HandOff
    hostname: str
    authserv_id: str
    worker: str
    postmasters: Mapping[str, str] = field(default_factory=dict)
    header_bytes: int = 262_144
    clients: ClientsConfig = field(default_factory=ClientsConfig)
    greylist_config: GreylistConfig = field(default_factory=GreylistConfig)
    senders: SenderNotes | None = None
    dmarc_notes: DmarcNotes | None = None
    campaign_notes: CampaignNotes | None = None
    outbound: Outbound | None = None
    correspondents: CorrespondentNotes | None = None
    lookups_per_message: int = BUDGET
    signer: Signer | None = None
    model_name: Callable[[], str] = lambda: ""
    has_room: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.time
