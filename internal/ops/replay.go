package ops

func replayCommand() command { return command{name: "replay"} }
