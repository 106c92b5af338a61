"""The live page of `idealflow watch`: the report's figures of running campaigns, read from their store."""
