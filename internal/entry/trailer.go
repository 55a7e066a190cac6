package entry

// Trailer is the end of a program's file that a client follows.
type Trailer struct {
	Segments [4]Segment
	Entry    uint64
	Magic    uint64
}

// Segment is a part of the client's memory. Offset is where its content is in
// the file; addresses and offsets are multiples of any page's size. What is
// beyond File is zero.
type Segment struct {
	Address, Offset, File, Memory uint64
	Protection                    uint64 // as mmap(2) takes it
}

// Magic says that there is a Trailer.
const Magic = 0x74_6e_65_69_6c_63_78_62
