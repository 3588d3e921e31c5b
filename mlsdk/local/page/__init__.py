"""The page of the local Mindlytics: what arrived, as it arrives, for people to look at."""
