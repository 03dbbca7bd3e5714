package testkit

func removeBuilt() {}
