"""The sandbox: Azurite, the ARM simulator and fakesnow, so that the whole job runs on one machine.

Needs the extra ``local``. Everything listens on loopback only.
"""
