package l4

import "github.com/outrigger-mesh/outrigger/proxy/stack"

// bytesHeld holds a connection of which nobody knows when it has said all.
type bytesHeld struct{}

// InHand implements stack.Holder.
func (bytesHeld) InHand() (stack.Kind, int) { return stack.OpaqueWork, 1 }

// Leave implements stack.Holder: there is nothing that could be said.
func (bytesHeld) Leave() {}
