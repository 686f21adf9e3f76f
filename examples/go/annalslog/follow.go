package annalslog

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	annalsv1 "example.com/annals-example/gen/annals/v1"
)

// A Stored record is one with its place in the log.
type Stored struct {
	Offset uint64
	Record *annalsv1.Record
}

// Follow gives each record from offset on, in order and once, and then each new one as it comes, for as long as ctx allows. An error is
// the last thing it gives.
func Follow(ctx context.Context, log annalsv1.LogServiceClient, offset uint64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		var tries tries
		for {
			goesOn, err := followOnce(ctx, log, &offset, &tries, yield)
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
	offset *uint64,
	tries *tries,
	yield func(Stored, error) bool,
) (bool, error) {
	// Ends the stream when the caller has heard enough.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := &annalsv1.Start{Position: &annalsv1.Start_Offset{Offset: *offset}}
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
				*offset = batch.BaseOffset + uint64(i) + 1
				if !yield(Stored{*offset - 1, record}, nil) {
					return false, nil
				}
			}
		}
	}
}

// Position is where a reader goes on, in a file of this name: the offset of the first record that it has not dealt with.
type Position string

// Load is otherwise where there is no such file.
func (p Position) Load(otherwise uint64) (uint64, error) {
	text, err := os.ReadFile(string(p))
	if errors.Is(err, os.ErrNotExist) {
		return otherwise, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// Save saves it, as a whole or not at all.
func (p Position) Save(offset uint64) error {
	file, err := os.Create(string(p) + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.WriteString(file, strconv.FormatUint(offset, 10)+"\n"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(file.Name(), string(p))
}
