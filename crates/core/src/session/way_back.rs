//! What a session that gave way can still do: go on while its close is unsent, or be opened again.
