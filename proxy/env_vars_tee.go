package proxy

// The bounds of what consumers may be given: a read's worth, and what fits an int
// anywhere.
const (
	minTeeBytes = 1 << 20
	maxTeeBytes = 1 << 30
)

// tee adds what consumers of contents may cost.
func (t *envTable) tee(e *Tee) {
	size := between(parseCount, minTeeBytes, maxTeeBytes)
	bind(t, "integer", size, &e.Bytes, "TEE_BYTES", "67108864",
		"of contents that are held for all consumers, such as a cache; from 1048576 to 1073741824, as the next two. Who would need more is shown no more (docs/tee.md)").in("bytes")
	bind(t, "integer", size, &e.MessageBytes, "TEE_MESSAGE_BYTES", "16777216", "that are held for all consumers of one message").in("bytes")
	bind(t, "integer", size, &e.ConsumerBytes, "TEE_CONSUMER_BYTES", "16777216", "that one consumer of a message may be behind its client").in("bytes")
	t.count(&e.Consumers, "TEE_CONSUMERS", "4", "consumers", "that one message may have")
	t.count(&e.Running, "TEE_RUNNING", "10000", "consumers", "that may be reading at once, each a message")
	t.duration(&e.Stall, "TEE_STALL", "10s", "for a consumer to read nothing of what there is for it, until it is shown no more; 0 for ever")
	t.duration(&e.Grace, "TEE_GRACE", "1s", "at the end, for consumers to finish; then as long again once they are told to stop")
}
