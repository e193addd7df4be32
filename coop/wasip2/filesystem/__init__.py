"""wasi:filesystem: files and directories as handles, on the same directories as preview 1.

- `descriptors` what a guest has open, `streams` what it reads and writes of them
- `modes` their types, flags and times; `errorcode` how a call fails
- `openfiles` how many files a guest may have open
- `interfaces` what a guest imports
"""
