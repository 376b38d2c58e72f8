package reason

// FailedMirrorPod is the reason of notes about static pods that cannot be seen in the API; upstream only logs that.
const FailedMirrorPod = "FailedMirrorPod"
