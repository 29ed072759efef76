`python -m ka_twisted explain` reads raw requests and says what each does to its connection, and by which rule; as text or as JSON.
