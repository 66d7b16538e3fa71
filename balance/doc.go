// Package balance shares work among the endpoints of one destination. It
// chooses and does not send: it knows neither HTTP nor TCP, and whom it may
// choose among is package discover's to say. Read Balancer first.
//
// # Choice
//
// Of two endpoints drawn at random among the ready, a Pick takes the one with
// the lower load (power of two choices). The load is Finagle's peak EWMA: a
// moving average of the endpoint's round trips that jumps to a peak at once and
// fades from it, times the calls in hand plus one. While endpoints are ready and
// none changes, a Pick takes no lock and allocates nothing, however many they are.
//
// An endpoint is known by its [discover.Key]. Whatever else the control plane
// changes of it leaves its estimate and its calls in hand as they are.
//
// # Waiting
//
// While no endpoint is ready, picks wait in a bounded queue. Once one of them
// has waited for Config.FailFast, with none ready in all that time, everyone in
// the queue is told [ErrFailFast]; those that come later are told
// [ErrUnavailable] at once, until an endpoint is ready again. That is Linkerd's
// fail-fast: the first to wait are answered 504, the later ones 503.
//
// # Ends
//
// A Balancer starts no goroutine that lasts. All that it holds ends with the
// context given to New: the endpoints' contexts, the fail-fast timer and the
// waits.
package balance
