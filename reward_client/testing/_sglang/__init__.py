"""SGLang's HTTP API, as each imitated version answers."""
