"""What leaves the box about the log, and who watches it: witness, collector, and the appliance's client. R2.

    witness          the decision: may this checkpoint be co-signed (C2SP tlog-witness)?
    witness_store    what a witness must never forget
    collector        witness behind HTTP
    client           offers our checkpoints, keeps the latest co-signed one
"""
