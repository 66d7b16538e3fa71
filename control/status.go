package control

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Refused reports whether the control plane refused a request for good:
// InvalidArgument or FailedPrecondition, anywhere in err's chain. Asking again
// would be answered in the same way.
func Refused(err error) bool {
	code := status.Code(err)
	return err != nil && (code == codes.InvalidArgument || code == codes.FailedPrecondition)
}

// Unknown reports whether the control plane said that it does not know what it
// was asked for, or does not serve such questions: NotFound or Unimplemented,
// anywhere in err's chain. It may learn of it later.
func Unknown(err error) bool {
	code := status.Code(err)
	return err != nil && (code == codes.NotFound || code == codes.Unimplemented)
}
