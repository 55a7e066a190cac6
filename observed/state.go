package observed

// state merges what is recorded of a container with what is known of its
// sandbox (liveness and record) and with the runtime's answer, if there is one.
// The first row that fits decides:
//
//	record       sandbox, runtime's answer           state      exit
//	stopped      any                                 stopped    as recorded
//	creating     any                                 creating   as recorded
//	an exit      any                                 stopped    as recorded
//	any          no process left                     stopped    SandboxLost
//	any          no answer                           as recorded, or paused
//	any          unknown to the runtime              stopped    not known
//	any          stopped                             running, or paused
//	any          created, running, paused            that, or paused
//
// "Or paused": a container that runs in a sandbox that is recorded as paused.
//
// Creating stays, since the step from record to process is the actuator's and
// not finished: whatever is there is cleaned up by making it anew.
//
// An exit is recorded by a waiter first and acted on second, so a look in
// between may meet a runtime that already says "stopped". The container is
// then reported as running: the waiter is about to write the true exit, and a
// guess would be acted on. (Whoever adopts a sandbox must therefore wait for
// every container that the runtime has started, whatever its record says.) A
// container that the runtime does not know at all has nobody who could tell
// its exit any more.
func state(rec ContainerRecord, sb Sandbox, answer probed) (ContainerState, *Exit) {
	switch {
	case rec.State == Stopped, rec.State == Creating:
		return rec.State, rec.Exit
	case rec.Exit != nil:
		return Stopped, rec.Exit
	case over(sb):
		return Stopped, &Exit{Reason: ReasonSandboxLost, Message: "its sandbox is gone, and nobody saw its end"}
	case answer == nil:
		return frozen(rec.State, sb), nil
	}
	switch is, known := answer[rec.ID]; {
	case !known:
		return Stopped, &Exit{Reason: ReasonError, Message: "the runtime does not know it any more, and nobody saw its end"}
	case is == Stopped:
		return frozen(Running, sb), nil
	default:
		return frozen(is, sb), nil
	}
}

// over says whether nothing can run in the sandbox any more. Where its record
// is missing nobody knows, and the containers' own records are believed.
func over(sb Sandbox) bool {
	return sb.Sentry == Gone || sb.Record != nil && sb.Record.State == SandboxStopped
}

// frozen turns running into paused where the whole sandbox is.
func frozen(s ContainerState, sb Sandbox) ContainerState {
	if s == Running && sb.Record != nil && sb.Record.State == SandboxPaused {
		return Paused
	}
	return s
}
