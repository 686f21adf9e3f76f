package annalslog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"

	annalsv1 "example.com/annals-example/gen/annals/v1"
)

// A Place in the log of a cluster: in that of another one, other records have the same offsets, or none has.
type Place struct {
	// Its id; empty: whichever is there.
	Cluster string
	Offset  uint64
}

// ErrWrongPlace says that a place is none in the log that is there, such as that of an `annals dev` which was started anew.
var ErrWrongPlace = errors.New("the position is none in this log")

// A Stored record is one with its place in the log.
type Stored struct {
	Place
	Record *annalsv1.Record
}

// Follow gives each record from place on, in order and once, and then each new one as it comes, for as long as ctx allows. An error is
// the last thing it gives; it is ErrWrongPlace where another log is.
func Follow(ctx context.Context, log annalsv1.LogServiceClient, place Place) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		var tries tries
		for {
			goesOn, err := followOnce(ctx, log, &place, &tries, yield)
			if !goesOn {
				return
			}
			if err := tries.pauseAfter(ctx, err); err != nil {
				yield(Stored{}, err)
				return
			}
		}
	}
}

// Follows until the stream ends, and says whether somebody still listens.
func followOnce(
	ctx context.Context,
	log annalsv1.LogServiceClient,
	place *Place,
	tries *tries,
	yield func(Stored, error) bool,
) (bool, error) {
	// Ends the stream when the caller has heard enough.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// After a loss, too: whoever is there now may have another log.
	described, err := log.DescribeLog(ctx, &annalsv1.DescribeLogRequest{})
	if err != nil {
		return true, err
	}
	here := described.GetHeader().GetClusterId()
	if place.Cluster != "" && place.Cluster != here {
		yield(Stored{}, fmt.Errorf("%w: it is one of cluster %s, and here is cluster %s", ErrWrongPlace, place.Cluster, here))
		return false, nil
	}
	place.Cluster = here
	start := &annalsv1.Start{Position: &annalsv1.Start_Offset{Offset: place.Offset}}
	stream, err := log.ConsumeStream(ctx, &annalsv1.ConsumeRequest{Start: start, Follow: true})
	if err != nil {
		return true, err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return true, err
		}
		tries.succeeded()
		for _, batch := range response.Batches {
			for i, record := range batch.Records.Records {
				at := batch.BaseOffset + uint64(i)
				place.Offset = at + 1
				if !yield(Stored{Place{here, at}, record}, nil) {
					return false, nil
				}
			}
		}
	}
}

// Position is where a reader goes on, in a file of this name: the place of the first record that it has not dealt with.
type Position string

// Load is otherwise where there is no such file.
func (p Position) Load(otherwise uint64) (Place, error) {
	text, err := os.ReadFile(string(p))
	if errors.Is(err, os.ErrNotExist) {
		return Place{Offset: otherwise}, nil
	}
	if err != nil {
		return Place{}, err
	}
	cluster, next, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	offset, err := strconv.ParseUint(next, 10, 64)
	if err != nil {
		return Place{}, fmt.Errorf("%w: %w", ErrWrongPlace, err)
	}
	return Place{cluster, offset}, nil
}

// Save saves it, as a whole or not at all.
func (p Position) Save(place Place) error {
	file, err := os.Create(string(p) + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s %d\n", place.Cluster, place.Offset); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(file.Name(), string(p))
}
