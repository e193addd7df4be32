"""What the host has given: an open file, and what a guest may be told it is."""

from dataclasses import dataclass

from coop.netpoll.openfile import OpenFile


@dataclass(slots=True)
class Given:
    """An open file of the host, for one guest, which releases it.

    file         -- moves the bytes
    mode         -- its type, as in `st_mode`; 0 for what is no file of the system
    is_terminal  -- whether people sit behind it
    has_position -- whether it may be sought in
    appends      -- whether every write goes to its end
    listens, is_datagram -- of which kind a socket is
    """

    file: OpenFile
    mode: int = 0
    is_terminal: bool = False
    has_position: bool = False
    appends: bool = False
    listens: bool = False
    is_datagram: bool = False
