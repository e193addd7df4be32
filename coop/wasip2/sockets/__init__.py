"""wasi:sockets: TCP, UDP and names, for what a guest's policy allows.

- `policy` what of the network a guest may use, `network` its right to that, and addresses
- `base` what both kinds of socket have in common; `tcp`, `tcpstreams` and `keepalive`; `udp`
- `names` lookups
- `net` the same in sync style, as a runtime within a guest has it; nothing here is built on it
"""
