"""wasi:http: messages as handles, bodies as streams.

- `fields`, `bodies`, `messages` what messages consist of; `pipe` a body on its way; `errorcode` how
  an exchange fails
- `machine` HTTP as bytes, for both sides
- `client` sends requests; who serves them is `coop.serve`
- `interfaces` what a guest imports
"""
