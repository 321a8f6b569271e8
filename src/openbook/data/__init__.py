"""Tables in, arrays out: reading, checking, inspecting and simulating series. No torch below this folder."""
