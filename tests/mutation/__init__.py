"""Small faults in the pre-trade core, one at a time: do the tests notice (`bash tests/run.sh --mutation`)?"""
