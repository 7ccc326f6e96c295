"""What a person holds: `Search` and `Strategy`.

start       search and resume
handle      Search
strategy    Strategy
status      what a search is doing
tables      records as DataFrames
rows        records as the panel shows them
advice      the recommended strategy, and how a strategy compares in a few words
progress    following a search in a terminal
live        following a search in a panel
"""
